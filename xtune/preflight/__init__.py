"""Before a run costs anything: check it, plan it, rehearse it in small."""
