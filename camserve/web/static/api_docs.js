// The description of the API, shown by Swagger UI, which comes with the extra `apidocs` and asks no other host.

const docs = document.getElementById("docs");

SwaggerUIBundle({
  domNode: docs,
  url: docs.dataset.description,
  validatorUrl: null, // else a badge of another host's
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
