ARG global=1
FROM scratch AS base
COPY $foo .
COPY ${bar:-x} ${baz:+y} ./
ARG declared
ENV a=$declared b=$PATHS c=${PATH} d=$global
ARG global
ENV a=$global fooo=1
LABEL "x$foo"=$fooo$HOME
USER a$u:b$g
VOLUME ["/a$vol"]
STOPSIGNAL SIG${sig:-INT}
WORKDIR /$wd
ENV old $style thing
LABEL old $style2
FROM base
COPY $declared $global $foo /
ENV b=$a $key=1
ENV a=$aaa b=$aaa
