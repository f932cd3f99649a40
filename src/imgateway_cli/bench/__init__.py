"""The load generator behind `imgateway bench`.

A `Plan` says what to do. `fleet` starts processes and brings them through the stages together; in each of them `worker`
opens connections (`client`, `opening`) and loads the gateway (`holding`, `upward`, `downward`). What a process has
measured is a `Tally`; tallies add up, and `report` shows the sum.
"""
