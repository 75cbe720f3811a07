FROM a
RUN café
COPY <<E /x
# café
E
