FROM scratch
RUN --mount=type=secret,id=$sid,target=/q$st,env=$senv,mode=0$mo --mount=type=bind,target=/a$bt,source=$bs echo $run
RUN --mount=type=cache,target=/x,sharing=${sh:-shared},uid=${uid:-0},from=scratch,source=$src,id=$i x
RUN --mount=type=ssh,id=$sss,target=/w$tgt,required=${req:-true} x
