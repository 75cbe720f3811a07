FROM a
RUN ["a", "b c", "\"q\"", "\u00e9", "\ud83d\ude00", "tab\t"]
RUN [ ]x
RUN ["a" "b"]
RUN ['a']
RUN ["a"] b
RUN ["a",]
CMD []
ENTRYPOINT [ "a" ,
COPY ["with space", "another one", "/dest dir/"]
ADD ["a","b"]
VOLUME ["/a"]
VOLUME /b /c
VOLUME [ "/d"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
