//! Logins by tokens, through restarts, rollbacks and kills, on three stores.
