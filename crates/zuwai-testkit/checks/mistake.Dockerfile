FROM scratch AS Build
RNU x
