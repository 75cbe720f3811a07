# comment
ARG a=1
ENV b=2
RUN c
FROM d
