FROM a
CMD ["a", 1]
RUN [null]
ENTRYPOINT [["a"]]
COPY [{"a": true}, "b"]
