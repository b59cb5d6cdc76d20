// Bundles a JavaScript or TypeScript plugin with what it imports, and makes a component of it.
//
// Run by `witgate plugin build` from the folder of its tools; the one argument is JSON:
// {entry, sdk, folder, wit, world, out}, all paths absolute.
import { writeFile } from "node:fs/promises";
import { componentize } from "componentize-qjs";
import { rolldown } from "rolldown";

const { entry, sdk, folder, wit, world, out } = JSON.parse(process.argv[2]);

async function build() {
  const bundle = await rolldown({
    input: entry,
    cwd: folder,
    // The host's interfaces. Those that nothing uses are left out: not every kind of plugin has each.
    external: [/^witgate:/],
    treeshake: { moduleSideEffects: (id, external) => !external },
    resolve: {
      alias: { witgate: sdk },
      modules: [`${folder}/node_modules`],
      mainFields: ["module", "main"],
    },
    platform: "neutral",
    onLog(level, log, handler) {
      // Left to itself it would be an import that nobody answers.
      if (log.code === "UNRESOLVED_IMPORT") throw new Error(log.message);
      handler(level, log);
    },
  });
  const { output } = await bundle.generate({ format: "esm" });
  const [{ code }] = output;
  const jsPath = `${out}.js`;
  await writeFile(jsPath, code);
  const { component } = await componentize({ witPath: wit, jsSource: code, jsPath, world, sync: true, stubWasi: true });
  await writeFile(out, component);
}

build().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
