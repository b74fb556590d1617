"""The only boto3 of the library: what is read from AWS and the few conditional writes."""
