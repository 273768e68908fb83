"""What Backstay does, one file per verb; `deploy.py` reads as the runbook. Steps live in `steps/`."""
