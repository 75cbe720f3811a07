  FROM   a  
	RUN	x	
 RUN  two   words  

   
	
EXPOSE  1   2
