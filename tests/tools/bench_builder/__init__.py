"""The builder of editing pairs, against small inputs and a fake endpoint."""
