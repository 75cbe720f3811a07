FROM scratch
CMD ["a"]
ENTRYPOINT ["a"]
HEALTHCHECK NONE
CMD ["b"]
cmd ["c"]
Entrypoint ["b"]
HEALTHCHECK CMD ["x"]
FROM scratch
CMD ["a"]
RUN ["a"]
ONBUILD CMD ["b"]
ONBUILD CMD ["c"]
