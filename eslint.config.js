import js from "@eslint/js"
import globals from "globals"

export default [
  {
    files: ["static/js/**/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: { ...globals.browser, ...globals.worker } },
    rules: {
      ...js.configs.recommended.rules,
      "no-empty": ["error", { allowEmptyCatch: true }],
      "no-unused-vars": ["error", { ignoreRestSiblings: true }], // { a, ...rest } leaves `a` out
      "no-unused-private-class-members": "off", // it does not count ||= as a use
    },
  },
]
