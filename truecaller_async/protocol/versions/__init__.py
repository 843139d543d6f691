"""Wire forms of a record in each version of the API."""
