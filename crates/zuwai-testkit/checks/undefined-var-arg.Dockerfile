ARG a=$nobody_looks_here
FROM scratch
ARG x=$xx y=$x
ARG P=$pp Q=${P} R=$qq
ARG k$zz=1
ARG unset
ENV v=$unset w=$x$y
