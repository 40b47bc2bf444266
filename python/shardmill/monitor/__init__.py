"""How a run is going: status, logs, failures, estimates, and checks before it starts."""
