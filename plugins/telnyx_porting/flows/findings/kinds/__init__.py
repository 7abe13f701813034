"""One file per kind of finding: what is true now, how severe it is, since when. `findings/see.py` lists them."""
