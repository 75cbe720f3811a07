FROM scratch
CMD a
FROM scratch
ENTRYPOINT a b
FROM scratch
cmd [a]
FROM scratch
CMD ["a"]
ENTRYPOINT []
FROM scratch
HEALTHCHECK CMD a
RUN a
