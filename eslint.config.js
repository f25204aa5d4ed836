import js from "@eslint/js"
import globals from "globals"

export default [
  {
    files: ["static/js/**/*.js", "tests/js/**/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module" },
    rules: {
      ...js.configs.recommended.rules,
      "no-empty": ["error", { allowEmptyCatch: true }],
      "no-unused-vars": ["error", { ignoreRestSiblings: true }], // { a, ...rest } leaves `a` out
      "no-unused-private-class-members": "off", // it does not count ||= as a use
    },
  },
  { files: ["static/js/**/*.js"], languageOptions: { globals: { ...globals.browser, ...globals.worker } } },
  { files: ["tests/js/**/*.js"], languageOptions: { globals: globals.node } },
]
