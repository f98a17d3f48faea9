"""Load for drills, its ledger, and what is read back: run on a gateway by `mosaic drill ...`."""
