FROM a
ARG one
ARG two=2
ARG three=3 four five="5 5" six=
ARG http_proxy
ARG seven=${two}
