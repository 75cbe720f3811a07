FROM scratch
COPY f /
