// Shows the description of the API with Swagger UI, from the extra `apidocs`. Swagger UI requests nothing from other hosts.

const docs = document.getElementById("docs");

SwaggerUIBundle({
  domNode: docs,
  url: docs.dataset.description,
  validatorUrl: null, // otherwise Swagger UI loads a badge from another host
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
