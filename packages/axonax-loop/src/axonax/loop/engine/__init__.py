"""What moves a run forward: events, schedules, signals."""
