FROM scratch AS Build
ENV a=$foo b=${c:?needed}
WORKDIR never-seen
