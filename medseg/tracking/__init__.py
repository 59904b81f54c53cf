"""MLflow: one training is one run, and it never holds up or ends a training.

`names` decides what may be told and how it is called, `uri` where it goes, `store` speaks to MLflow, `worker`
is the thread that does so, `owner` knows whose runs have died, and `tracker` is the door. Nothing is imported here,
for MLflow takes seconds, and `names` and `uri` do without it.
"""
