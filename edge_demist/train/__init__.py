"""A specialist on one's own labels, trained on an installed bundle (extra ``train``); nothing of it is needed to use one."""
