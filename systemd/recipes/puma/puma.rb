threads 8, 8
# Puma would close what it has accepted and not read when it is told to stop: with this it reads what it accepts. The
# price: a connection is answered once, so let nginx keep the clients' connections.
queue_requests false
force_shutdown_after 50                  # seconds for requests under way; gin's drain_timeout is longer
raise_exception_on_sigterm false         # exit 0 at SIGTERM
