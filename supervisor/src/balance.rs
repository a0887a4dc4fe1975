//! Shares of the load: which worker gives how many of its connections to which others.
