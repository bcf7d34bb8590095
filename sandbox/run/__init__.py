"""Running a scenario: actions become calls, a session does them, a block runs on several CPUs."""
