FROM node:22-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc,mode=0400,required \
    npm ci --omit=dev

FROM node:22-slim
ENV NODE_ENV=production \
    PORT=3000
WORKDIR /app
COPY --link --from=dependencies /app/node_modules ./node_modules
COPY --link --exclude=*.md --exclude=test . .
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s --start-interval=500ms --retries=5 \
    CMD node -e "fetch('http://127.0.0.1:'+process.env.PORT).catch(() => process.exit(1))"
USER node
CMD [ "node", "server.js" ]
