FR\
OM a
RU\
N b
