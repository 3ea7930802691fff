// The models of the server and what they can.
import { computed, signal } from '@preact/signals';
import { getJson, request } from '../api/http';
import type { Limits, ModelFacts } from '../types';
import { modelName } from './settings';

export const modelIds = signal<string[]>([]);
export const limits = signal<Limits>({ file_bytes: 32 << 20, files: 64 });
export const problem = signal('');
const facts = signal<Record<string, ModelFacts>>({});

/** The chosen model, or the server's first one where it has no such model. */
export const model = computed(() =>
  modelIds.value.includes(modelName.value) ? modelName.value : (modelIds.value[0] ?? ''));

/** Nothing until they are known. */
export const modelFacts = computed<ModelFacts | undefined>(() => facts.value[model.value]);

/** Whether the chosen model could answer at once. Of models that are not loaded a server may tell little or nothing. */
export const isLoaded = computed(() => modelFacts.value !== undefined && modelFacts.value.loaded !== false);

export function isModelLoaded(id: string): boolean {
  return facts.value[id] !== undefined && facts.value[id].loaded !== false;
}

interface Loading {
  id: string;
  stop: AbortController;
}

/** The model that is being loaded because the user wants it. */
export const loading = signal<Loading | null>(null);

/** Has the server load a model; other models may have to go for it. Throws as request(). */
export async function loadModel(id: string): Promise<void> {
  loading.value?.stop.abort();
  const mine = { id, stop: new AbortController() };
  loading.value = mine;
  try {
    const body = JSON.stringify({ model: id, stream: false });
    await request('/api/generate', { method: 'POST', body, signal: mine.stop.signal });
    await loadModels();
  } catch (error) {
    if (!mine.stop.signal.aborted) throw error;
  } finally {
    if (loading.value === mine) loading.value = null;
  }
}

export async function loadModels(): Promise<void> {
  try {
    const [list, props] = await Promise.all([
      getJson<{ data: { id: string }[] }>('/v1/models'),
      getJson<{ models: ModelFacts[]; limits: Limits }>('/props'),
    ]);
    facts.value = Object.fromEntries(props.models.map((row) => [row.id, row]));
    limits.value = props.limits;
    modelIds.value = list.data.map((row) => row.id);
    problem.value = '';
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
  }
}
