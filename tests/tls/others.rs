//! Programs of others: OpenSSL's client. What the ordinary run does not install is left to `tests/run --services`.

mod openssl;
