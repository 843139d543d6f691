"""The wire: models to bytes (`requests`) and bytes to models (`decipher`). Pure: no I/O, and no clock but `now`."""
