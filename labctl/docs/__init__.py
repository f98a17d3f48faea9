"""The pages of docs/reference and the READMEs of the roles, written from what they describe."""
