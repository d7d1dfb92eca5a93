"""What lasts for moments, on a machine that may have other things to do."""


def in_peace(ok, tries, claim, act):
    """Tests it with ok(): act() says whether it is good, and what it saw. A disturbed machine gets other tries; a fault is found by each."""
    for _ in range(tries):
        good, *seen = act()
        if good:
            break
    ok(good, claim, *seen)
