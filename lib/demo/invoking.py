"""Lambda's Invoke in the demo: moto would want Docker for it; here the project's own trigger is run, and logged."""

import json
import re
import uuid
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

from lib.demo.joining import run_trigger

if TYPE_CHECKING:
    from lib.demo.world import World

_INVOKE = re.compile(r"/2015-03-31/functions/(?:.*:)?(?P<name>[^:/]+)/invocations")


def matches(world: "World", path: str) -> bool:
    """Return whether a request is to run the world's trigger."""
    invoked = _INVOKE.fullmatch(path)
    return invoked is not None and invoked["name"] == world.facts.function


def answer(world: "World", request: Request) -> Response:
    """Run the trigger as it is configured, with the event of the request; a DryRun runs nothing."""
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    if request.headers.get("X-Amz-Invocation-Type") == "DryRun":
        return Response(status=204, headers=headers)
    event = request.get_json(force=True)
    described = world.client("lambda").get_function_configuration(FunctionName=world.facts.function)
    run_trigger(world, event, described["Environment"]["Variables"])
    return Response(json.dumps(event), headers=headers, content_type="application/json")
