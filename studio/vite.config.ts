import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../service/static/studio",
    emptyOutDir: true,
    assetsDir: ".",
    assetsInlineLimit: 0,
    modulePreload: false,
  },
  experimental: {
    // The page is served at /studio, what it loads from /static/studio.
    renderBuiltUrl: (name, { hostType }) =>
      hostType === "html" ? `static/studio/${name}` : { relative: true },
  },
  server: {
    proxy: { "/v1": { target: "http://127.0.0.1:8000", ws: true }, "/static": "http://127.0.0.1:8000" },
  },
});
