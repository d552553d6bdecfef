/* Calls a SavedModel from C, through the C interface of TensorFlow alone.

   consumer FOLDER OUTPUT INPUT=TYPE:DIMxDIM...:FILE ...

   OUTPUT and INPUT are names of operations with the index of the tensor, as the signature gives
   them (`StatefulPartitionedCall:0`); TYPE is a number of tensorflow/c/tf_datatype.h; FILE holds
   the values as they lie in memory; a scalar has no DIM. Writes the output's values, as they lie in
   memory, to standard output, and its shape to standard error. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

enum { MAX_INPUTS = 8, MAX_DIMS = 8 };

static void stop(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) stop(what, TF_Message(status));
}

/* `NAME:INDEX` */
static TF_Output find(TF_Graph *graph, char *name) {
  char *colon = strrchr(name, ':');
  if (colon == NULL) stop(name, "has no index");
  *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) stop(name, "is not in the graph");
  return output;
}

/* `TYPE:DIMxDIM...:FILE` */
static TF_Tensor *read_tensor(char *text) {
  TF_DataType type = (TF_DataType)atoi(strtok(text, ":"));
  char *rest = text + strlen(text) + 1;
  char *path = strchr(rest, ':') + 1;
  int64_t dims[MAX_DIMS];
  int num_dims = 0;
  size_t size = TF_DataTypeSize(type);
  for (char *p = rest; p < path - 1 && num_dims < MAX_DIMS; p++) {
    dims[num_dims] = strtoll(p, &p, 10);
    size *= dims[num_dims++];
  }
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, num_dims, size);
  FILE *file = fopen(path, "rb");
  if (file == NULL || fread(TF_TensorData(tensor), 1, size, file) != size)
    stop(path, "cannot be read");
  fclose(file);
  return tensor;
}

int main(int argc, char **argv) {
  int num_inputs = argc - 3;
  if (num_inputs < 1 || num_inputs > MAX_INPUTS) stop(argv[0], "wrong number of arguments");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      TF_NewSessionOptions(), NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  TF_Output inputs[MAX_INPUTS];
  TF_Tensor *values[MAX_INPUTS];
  for (int i = 0; i < num_inputs; i++) {
    char *value = strchr(argv[3 + i], '=');
    if (value == NULL) stop(argv[3 + i], "is no input");
    *value = '\0';
    inputs[i] = find(graph, argv[3 + i]);
    values[i] = read_tensor(value + 1);
  }
  TF_Output output = find(graph, argv[2]);
  TF_Tensor *result;
  TF_SessionRun(session, NULL, inputs, values, num_inputs, &output, &result, 1, NULL, 0, NULL,
                status);
  check(status, argv[2]);

  fprintf(stderr, "TensorFlow %s:", TF_Version());
  for (int i = 0; i < TF_NumDims(result); i++)
    fprintf(stderr, " %lld", (long long)TF_Dim(result, i));
  fprintf(stderr, "\n");
  fwrite(TF_TensorData(result), 1, TF_TensorByteSize(result), stdout);
  return 0;
}
