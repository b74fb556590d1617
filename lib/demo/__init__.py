"""An embedded AWS world: a pool, a table, a trigger and its logs, made from one seed."""
