"""`trichord watch`: what events say is looked at by scoped runs, and all the rest by sweeps."""
