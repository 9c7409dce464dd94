"""Records to verdicts: which field goes to which specialist, scores, alarms, explanations."""
