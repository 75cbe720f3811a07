FROM scratch AS shell
CMD before
SHELL ["/bin/x", "-c"]
CMD after
FROM shell
ENTRYPOINT inherited
