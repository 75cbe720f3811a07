FROM a
RUN one \
# at the margin
    # indented
 && two \

 && three \
	# tab before
 && four
RUN echo "#not a comment" # nor this
   # before an instruction
   RUN indented
