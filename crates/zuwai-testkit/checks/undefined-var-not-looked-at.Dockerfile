FROM scratch
EXPOSE $port 80
RUN echo $run
RUN ["$run"]
CMD ["$cmd"]
ENTRYPOINT ["$entry"]
HEALTHCHECK CMD $check
ONBUILD COPY $onbuild /
SHELL ["$shell"]
MAINTAINER $me
COPY --exclude=$exclude a b
