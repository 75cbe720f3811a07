FROM eclipse-temurin:21-jre as extract
ARG JAR=target/*.jar
ADD --chown=1000:1000 ${JAR} app.jar
RUN java -Djarmode=tools -jar app.jar extract --layers --launcher

from eclipse-temurin:21-jre
copy --from=extract app/dependencies/ ./
copy --from=extract app/application/ ./
entrypoint ["java", "org.springframework.boot.loader.launch.JarLauncher"]
