FROM a
HEALTHCHECK NONE
FROM a
HEALTHCHECK CMD curl -f http://localhost/ || exit 1
FROM a
HEALTHCHECK --interval=1h2m3s --timeout=1.5s --start-period=0 --start-interval=10ms --retries=0 cmd ["a", "b"]
FROM a
HEALTHCHECK \
  --interval=5s \
  CMD \
  a
